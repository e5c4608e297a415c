"""The file in a form, as `curl -F file=@IMAGE` and HTML forms send one."""

from __future__ import annotations

import python_multipart
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from resnet_jax.errors import counted
from resnet_jax.serving.limits import RequestError

HOW_TO_SEND = (
    "as the body (curl --data-binary @FILE) or as the only part of a form (curl -F file=@FILE)"
)
_FORM = b"multipart/form-data"


def file_of_request(body: bytes, content_type: str) -> bytes:
    """Gives the file that a request brings: its body, or the only part of the form in it.

    Args:
        body: The body of the request.
        content_type: Its header of that name, or the empty string.

    Raises:
        RequestError: The form is damaged, or has no part or several (415).
    """
    kind, options = parse_options_header(content_type)
    if kind != _FORM:
        return body
    parts: list[bytearray] = []
    ends: list[None] = []
    callbacks: python_multipart.multipart.MultipartCallbacks = {
        "on_part_begin": lambda: parts.append(bytearray()),
        "on_part_data": lambda data, start, end: parts[-1].extend(data[start:end]),
        "on_end": lambda: ends.append(None),
    }
    try:
        parser = python_multipart.MultipartParser(options.get(b"boundary", b""), callbacks)
        parser.write(body)
        parser.finalize()
        if not ends:
            raise FormParserError("its end is missing")
    except FormParserError as error:
        damage = " ".join(str(error).split())
        reason = f"the form is damaged ({damage}): send an image {HOW_TO_SEND}"
        raise RequestError(415, reason) from None
    if len(parts) != 1:
        raise RequestError(
            415, f"the form has {counted(len(parts), 'part')}: send one image {HOW_TO_SEND}"
        )
    return bytes(parts[0])
