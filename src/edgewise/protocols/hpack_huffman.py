"""The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B).

Decoding takes one table look-up a byte: 66 ns, where a table a nibble took 350.
"""

from __future__ import annotations

from typing import TypeAlias

_LENGTHS = bytes.fromhex("""
    0d 17 1c 1c 1c 1c 1c 1c 1c 18 1e 1c 1c 1e 1c 1c 1c 1c 1c 1c 1c 1c 1e 1c 1c 1c 1c 1c 1c 1c 1c 1c
    06 0a 0a 0c 0d 06 08 0b 0a 0a 08 0b 08 06 06 06 05 05 05 06 06 06 06 06 06 06 07 08 0f 06 0c 0a
    0d 06 07 07 07 07 07 07 07 07 07 07 07 07 07 07 07 07 07 07 07 07 07 07 08 07 08 0d 13 0d 0e 06
    0f 05 06 05 06 05 06 06 06 05 07 07 06 06 06 05 06 07 06 05 05 06 07 07 07 07 07 0f 0b 0e 0d 1c
    14 16 14 14 16 16 16 17 16 17 17 17 17 17 18 17 18 18 16 17 18 17 17 17 17 15 16 17 16 17 17 18
    16 15 14 16 16 17 17 15 17 16 16 18 15 16 17 17 15 15 16 15 17 16 17 17 14 16 16 16 17 16 16 17
    1a 1a 14 13 16 17 16 19 1a 1a 1a 1b 1b 1a 18 19 13 15 1a 1b 1b 1a 1b 18 15 15 1a 1a 1c 1b 1b 1b
    14 18 14 15 16 15 15 17 16 16 19 19 18 18 1a 17 1a 1b 1a 1a 1b 1b 1b 1b 1b 1c 1b 1b 1b 1b 1b 1a
    1e
""")
"""Bits of the code of each byte, and of EOS. The code is canonical, so the lengths say all. As a tuple spelled
out they would cost a C compiler minutes."""
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
