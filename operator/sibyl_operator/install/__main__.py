"""`python -m sibyl_operator.install`: write the generated files of the repository anew, from its root."""

from pathlib import Path

from sibyl_operator.install.generate import write_generated_files

if __name__ == "__main__":
    root = Path.cwd()
    for path in write_generated_files(root):
        print(f"{path.relative_to(root)} changed")
