"""Media types by the end of a file's name: one table on every machine, unlike that of the system."""

from __future__ import annotations

OCTETS = b"application/octet-stream"
TYPES: dict[bytes, bytes] = {
    b"7z": b"application/x-7z-compressed",
    b"aac": b"audio/aac",
    b"apng": b"image/apng",
    b"atom": b"application/atom+xml",
    b"avif": b"image/avif",
    b"avi": b"video/x-msvideo",
    b"bin": OCTETS,
    b"bmp": b"image/bmp",
    b"bz2": b"application/x-bzip2",
    b"css": b"text/css",
    b"csv": b"text/csv",
    b"doc": b"application/msword",
    b"docx": b"application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    b"eot": b"application/vnd.ms-fontobject",
    b"epub": b"application/epub+zip",
    b"flac": b"audio/flac",
    b"geojson": b"application/geo+json",
    b"gif": b"image/gif",
    b"glb": b"model/gltf-binary",
    b"gltf": b"model/gltf+json",
    b"gz": b"application/gzip",
    b"htm": b"text/html",
    b"html": b"text/html",
    b"ico": b"image/vnd.microsoft.icon",
    b"ics": b"text/calendar",
    b"jpeg": b"image/jpeg",
    b"jpg": b"image/jpeg",
    b"js": b"text/javascript",
    b"json": b"application/json",
    b"jsonld": b"application/ld+json",
    b"jxl": b"image/jxl",
    b"m3u8": b"application/vnd.apple.mpegurl",
    b"m4a": b"audio/mp4",
    b"m4v": b"video/mp4",
    b"map": b"application/json",
    b"md": b"text/markdown",
    b"mid": b"audio/midi",
    b"mjs": b"text/javascript",
    b"mkv": b"video/matroska",
    b"mov": b"video/quicktime",
    b"mp3": b"audio/mpeg",
    b"mp4": b"video/mp4",
    b"mpd": b"application/dash+xml",
    b"mpeg": b"video/mpeg",
    b"odp": b"application/vnd.oasis.opendocument.presentation",
    b"ods": b"application/vnd.oasis.opendocument.spreadsheet",
    b"odt": b"application/vnd.oasis.opendocument.text",
    b"oga": b"audio/ogg",
    b"ogg": b"audio/ogg",
    b"ogv": b"video/ogg",
    b"opus": b"audio/ogg",
    b"otf": b"font/otf",
    b"pdf": b"application/pdf",
    b"png": b"image/png",
    b"ppt": b"application/vnd.ms-powerpoint",
    b"pptx": b"application/vnd.openxmlformats-officedocument.presentationml.presentation",
    b"rss": b"application/rss+xml",
    b"rtf": b"application/rtf",
    b"svg": b"image/svg+xml",
    b"tar": b"application/x-tar",
    b"tif": b"image/tiff",
    b"tiff": b"image/tiff",
    b"toml": b"application/toml",
    b"ts": b"video/mp2t",
    b"ttf": b"font/ttf",
    b"txt": b"text/plain",
    b"vtt": b"text/vtt",
    b"wasm": b"application/wasm",
    b"wav": b"audio/wav",
    b"weba": b"audio/webm",
    b"webm": b"video/webm",
    b"webmanifest": b"application/manifest+json",
    b"webp": b"image/webp",
    b"woff": b"font/woff",
    b"woff2": b"font/woff2",
    b"xhtml": b"application/xhtml+xml",
    b"xls": b"application/vnd.ms-excel",
    b"xlsx": b"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    b"xml": b"application/xml",
    b"xz": b"application/x-xz",
    b"yaml": b"application/yaml",
    b"yml": b"application/yaml",
    b"zip": b"application/zip",
    b"zst": b"application/zstd",
}
"""Lower-case ending without its dot -> type, as registered with IANA where it is."""

COMPRESSIBLE = frozenset(
    (
        b"application/javascript",
        b"application/json",
        b"application/manifest+json",
        b"application/toml",
        b"application/vnd.apple.mpegurl",
        b"application/vnd.ms-fontobject",
        b"application/wasm",
        b"application/x-javascript",
        b"application/x-ndjson",
        b"application/xml",
        b"application/yaml",
        b"font/otf",
        b"font/ttf",
        b"image/bmp",
        b"image/svg+xml",
        b"image/vnd.microsoft.icon",
        b"model/gltf-binary",
        b"model/gltf+json",
    )
)
"""Types that shrink, beside those of `text/`, and of `+json` and `+xml`."""


def ending(name: bytes) -> bytes:
    """Return the lower-case end of a file's name after its last dot, b"" where it has none."""
    stem, dot, end = name.rpartition(b".")
    return end.lower() if dot and stem and b"/" not in end else b""


def media_type(name: bytes) -> bytes:
    """Return the type of a file by its name."""
    return TYPES.get(ending(name), OCTETS)


def shrinks(kind: bytes) -> bool:
    """Is content of this type (lower-case, without parameters) worth compressing?"""
    return kind.startswith(b"text/") or kind in COMPRESSIBLE or kind.endswith((b"+json", b"+xml"))


def with_charset(kind: bytes, charset: bytes) -> bytes:
    """Return the Content-Type of text in a charset (b"": none is told); that of other types is the type alone."""
    return kind + b"; charset=" + charset if charset and kind.startswith(b"text/") else kind
