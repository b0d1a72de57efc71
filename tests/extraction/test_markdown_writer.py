"""The order of calls is that of a page, and a page may be malformed: nothing of its text is lost."""

from __future__ import annotations

from sibyl_runtime.extraction.markdown_writer import MarkdownWriter


def test_items_without_a_list_and_cells_without_a_row_are_paragraphs() -> None:
    writer = MarkdownWriter()
    writer.item()
    writer.text("an item")
    writer.start_cell()
    writer.text("a cell")
    writer.end_cell()
    writer.end_list()
    assert writer.markdown() == "an item\n\na cell"


def test_what_is_open_at_the_end_is_written() -> None:
    writer = MarkdownWriter()
    writer.start_table()
    writer.start_row()
    writer.start_cell()
    writer.text("the last cell")
    assert writer.markdown() == "| the last cell |\n|---|"


def test_lists_inside_lists_without_end_do_not_become_indentation() -> None:
    writer = MarkdownWriter()
    for _ in range(1_000):
        writer.start_list(ordered=False)
        writer.item()
        writer.text("x")
    assert len(writer.markdown()) < 1_000 * 20
