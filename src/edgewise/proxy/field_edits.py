"""What a route changes in the field lines of a head."""

from __future__ import annotations


def edited(lines: list[bytes], edits: tuple[tuple[str, bytes, bytes], ...]) -> list[bytes]:
    """Apply edits to field lines: (set | add | default | remove, lower-case name, line) and (rename, lower-case name,
    new name); default: where there is no line of that name."""
    for action, name, line in edits:
        prefix = name + b":"
        if action == "rename":
            renamed = len(name)
            lines = [line + one[renamed:] if one[: renamed + 1].lower() == prefix else one for one in lines]
            continue
        if action != "add":
            others = [present for present in lines if not present.lower().startswith(prefix)]
            if action == "default" and len(others) < len(lines):
                continue
            lines = others
        if action != "remove":
            lines.append(line)
    return lines
