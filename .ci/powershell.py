"""Reads PowerShell files with a grammar, since there is no PowerShell here: one line per piece that is not understood."""

import sys
from pathlib import Path

import tree_sitter_powershell
from tree_sitter import Language, Parser


def faults(node):
    if node.is_error or node.is_missing:
        yield node
        return
    for child in node.children:
        if child.has_error:
            yield from faults(child)


parser = Parser(Language(tree_sitter_powershell.language()))
bad = 0
for name in sys.argv[1:]:
    text = Path(name).read_bytes()
    for node in faults(parser.parse(text).root_node):
        bad += 1
        print(f"{name}:{node.start_point[0] + 1}: not PowerShell: {text[node.start_byte:node.end_byte][:60].decode(errors='replace')!r}")
print(f"PowerShell: {len(sys.argv) - 1} files, {bad} faults")
sys.exit(bad > 0)
