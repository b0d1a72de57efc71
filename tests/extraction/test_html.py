"""HTML becomes Markdown: what a reader sees of a page is kept, with its structure, and nothing else is."""

from __future__ import annotations

import html
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.extraction.html import page
from sibyl_runtime.extraction.part import Part
from sibyl_runtime.techniques.documents.markdown import structure


def read(text: str) -> Part:
    (part,) = page(io.BytesIO(text.encode()))
    return part


@pytest.mark.parametrize(
    ("written", "markdown"),
    [
        ("<h1>One</h1><p>a  b\n c</p><h3>Three</h3>text", "# One\n\na b c\n\n### Three\n\ntext"),
        ("<p>never closed<p>the next<div>and <b>more</b> of it</div>", "never closed\n\nthe next\n\nand more of it"),
        ("<p>line<br>break &amp; &copy;</p>", "line\nbreak & ©"),
        ("<ul><li>one<ul><li>in<li>it</ul><li>two</ul>after", "- one\n  - in\n  - it\n- two\n\nafter"),
        ("<ol><li>one</li><li>two</li></ol>", "1. one\n2. two"),
        ("<pre><code>def f():\n    return 1\n</code></pre>", "```\ndef f():\n    return 1\n```"),
        ("<pre>a ``` b</pre>", "````\na ``` b\n````"),
        (
            "<table><tr><th>a<th>b</tr><tr><td></td><td><p>x|y</p></td></tr></table>",
            "| a | b |\n|---|---|\n|  | x\\|y |",
        ),
        ("<table><tr><td><h1>Layout</h1>text</td><td>beside</td></tr></table>", "# Layout\n\ntext\n\nbeside"),
        ('<h2>Name<a class="headerlink" href="#n">¶</a></h2>', "## Name"),
        ("<p># no heading</p><p>```</p><p>a<br>---</p>", "\\# no heading\n\n\\```\n\na\n\\---"),
        ("<h1></h1><p> </p>", ""),
    ],
)
def test_structure_is_kept_as_markdown(written: str, markdown: str) -> None:
    assert read(f"<html><body>{written}</body></html>").text == markdown


@pytest.mark.parametrize(
    "unseen",
    [
        "<script>if (a < b) { document.write('<p>X</p>') }</script>",
        "<style>p { color: red }</style>",
        "<nav><ul><li>X<nav>X</nav></li></ul>X</nav>",
        "<header>X</header>",
        "<footer>X</footer>",
        "<aside>X</aside>",
        "<noscript>X</noscript>",
        "<template><p>X</p></template>",
        "<svg><title>X</title><text>X</text></svg>",
        "<button>X</button>",
        "<div hidden>X<div>X</div>X</div>",
        '<span aria-hidden="true">X</span>',
        '<div role="navigation">X</div>',
        "<!-- X -->",
    ],
)
def test_what_is_not_the_text_of_the_page_is_left_out(unseen: str) -> None:
    found = read(f"<title>T</title><body><p>before</p>{unseen}<p>after</p></body>")
    assert (found.title, found.text) == ("T", "before\n\nafter")


def test_a_page_with_a_main_part_is_that_part() -> None:
    found = read("<body><div>Sidebar</div><main><h1>Guide</h1><aside>A note.</aside></main><div>Related</div></body>")
    assert found.text == "# Guide\n\nA note."


@pytest.mark.parametrize("main", ["<main> </main>", "<div role=main></div>"])
def test_a_main_part_without_text_does_not_hide_the_page(main: str) -> None:
    assert read(f"<body><p>Text</p>{main}</body>").text == "Text"


def test_navigation_that_is_never_closed_does_not_take_the_main_part_with_it() -> None:
    assert read("<nav><a>Home</a><main>Text</main>").text == "Text"


def test_headers_of_articles_belong_to_them() -> None:
    assert read("<header>Site</header><article><header>By Ann</header>Text</article>").text == "By Ann\n\nText"


@given(st.lists(st.text(alphabet="#`~=-> |\n\tab1.*_[]()é", min_size=1, max_size=20), min_size=1, max_size=6))
def test_paragraphs_stay_text_whatever_they_look_like(paragraphs: list[str]) -> None:
    markdown = read("".join(f"<p>{html.escape(text)}</p>" for text in paragraphs)).text
    found = structure(markdown)
    assert (found.headings, found.fences) == ([], [])
    assert markdown.replace("\\", "").split() == " ".join(paragraphs).split()
