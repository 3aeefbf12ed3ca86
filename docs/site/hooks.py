"""Puts what the pages link to outside of docs/ into the site: the recipes and the studies' reports.

Links that lead out of docs/, which are right where the repository is read, then lead to the copies.
"""

import pathlib
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parents[2]
COPIED = ("flags/recipes/*.flags", "benchmarks/results/study_*.*", "CONTRIBUTING.md")


def on_files(files, config):
    for pattern in COPIED:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, **unused):
    name = page.file.src_uri
    if name == "CONTRIBUTING.md":  # its links begin where the repository does
        return markdown.replace("](docs/", "](")
    if name.startswith("benchmarks/"):
        return markdown.replace("](../../docs/", "](../../")
    if "/" not in name:
        return re.sub(r"\]\(\.\./(flags|benchmarks|CONTRIBUTING\.md)", r"](\1", markdown)
    return markdown
