"""What the site takes from outside `docs/`: the README, the log, figures beside their rows."""

from pathlib import Path, PurePosixPath

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
TAKEN = ("README.md", "experiments/LOG.md", "experiments/**/*.png")


def on_files(files: Files, config) -> Files:
    """The files of `docs/` and those that are taken, which lie in the site as in the repository."""
    for pattern in TAKEN:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page, **_) -> str:
    """Links as they are from where a page lies in the site, which has no folder `docs/`."""
    if page.file.src_uri == "README.md":
        return markdown.replace("](docs/", "](")
    up = "../" * len(PurePosixPath(page.file.src_uri).parts)
    return markdown.replace(f"]({up}", f"]({up.removeprefix('../')}")
