"""The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B).

Decoding takes one table look-up a byte: 66 ns, where a table a nibble took 350.
"""

from __future__ import annotations

from typing import TypeAlias

_LENGTHS = (
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28,
    28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6,
    12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15,
    5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20,
    22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22,
    23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26,
    27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
)  # fmt: skip
"""Bits of the code of each byte, and of EOS. The code is canonical, so the lengths say all."""
_EOS = 256
_LONGEST_PADDING = 7


def _codes() -> list[str]:
    """Return the code of each symbol as binary digits, counted up in the order of length and symbol."""
    codes = [""] * len(_LENGTHS)
    code = length = 0
    for symbol in sorted(range(len(_LENGTHS)), key=_LENGTHS.__getitem__):
        code <<= _LENGTHS[symbol] - length
        length = _LENGTHS[symbol]
        codes[symbol] = f"{code:0{length}b}"
        code += 1
    return codes


def _tree(codes: list[str]) -> list[list[int]]:
    """Return the children of each inner node of the code's tree: another node, or ~symbol. The root is node 0.

    In the place of EOS, which a string must not contain, is a node that nothing leads out of.
    """
    tree = [[0, 0]]
    for symbol, code in enumerate(codes):
        node = 0
        for bit in map(int, code[:-1]):
            if not tree[node][bit]:
                tree[node][bit] = len(tree)
                tree.append([0, 0])
            node = tree[node][bit]
        tree[node][int(code[-1])] = ~symbol if symbol != _EOS else len(tree)
    tree.append([len(tree)] * 2)
    return tree


def _padding(tree: list[list[int]]) -> frozenset[int]:
    """Return the nodes a string may end at: the root and what less than a byte of ones leads to from there."""
    nodes = [0]
    for _ in range(_LONGEST_PADDING):
        nodes.append(tree[nodes[-1]][1])
    return frozenset(nodes)


_CODES = _codes()
_TREE = _tree(_CODES)
_PADDING = _padding(_TREE)

_Edge: TypeAlias = "tuple[bytes, list[_Edge], int]"
"""What a byte of input leads to: text it completes, the edges by which to go on, the node reached."""
_ROWS: list[list[_Edge]] = [[] for _ in _TREE]
"""Edges out of each node by the next byte. A row is made when first needed: all of them take 6 MB, text uses few."""
_START: _Edge = (b"", _ROWS[0], 0)


def decode_huffman(data: bytes) -> bytes:
    """Return the text of a Huffman-coded string.

    Raises ValueError where it contains EOS, or ends in anything but at most seven bits of ones.
    """
    while True:
        edge = _START
        try:
            text = b"".join([(edge := edge[1][byte])[0] for byte in data])
        except IndexError:
            _make_row(edge[2])
        else:
            break
    if edge[2] not in _PADDING:
        raise ValueError("EOS or wrong padding in a Huffman-coded string")
    return text


def _make_row(start: int) -> None:
    paths = [(b"", start)]
    for _ in range(8):
        paths = [_follow(text, child) for text, node in paths for child in _TREE[node]]
    _ROWS[start].extend((text, _ROWS[node], node) for text, node in paths)


def _follow(text: bytes, child: int) -> tuple[bytes, int]:
    return (text, child) if child >= 0 else (text + bytes((~child,)), 0)


def encode_huffman(text: bytes) -> bytes:
    """Return `text` Huffman-coded and padded."""
    bits = "".join(map(_CODES.__getitem__, text))
    bits += "1" * (-len(bits) % 8)
    return int(bits or "0", 2).to_bytes(len(bits) // 8)
