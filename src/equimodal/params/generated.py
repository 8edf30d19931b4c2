"""README's list of methods, made from the registry; `python -m equimodal.params.generated` writes it."""

from pathlib import Path

from equimodal.methods.registry import METHODS

README = Path("README.md")
BEGIN, END = "<!-- methods: made by `make generated` -->", "<!-- end of methods -->"


def methods_table() -> str:
    """A Markdown row per registered method: its name, linked to its page, and the summary of its settings."""
    rows = [f"| [`{name}`](docs/methods/{name}.md) | {_summary(name)} |" for name in METHODS]
    return "\n".join(["| method | what it is |", "|---|---|", *rows])


def _summary(name: str) -> str:
    text = (METHODS[name].load_settings().__doc__ or "").strip().partition("\n\n")[0]
    return " ".join(text.split())


def with_methods(readme: str) -> str:
    """README's text with the present list between its marks."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{methods_table()}\n\n{END}{after}"


if __name__ == "__main__":
    README.write_text(with_methods(README.read_text(encoding="utf-8")), encoding="utf-8")
