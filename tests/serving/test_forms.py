import pytest

from resnet_jax.serving.forms import file_of_request
from resnet_jax.serving.limits import RequestError

FORM = "multipart/form-data; boundary=XX"
CONTENT = b"\x89PNG\r\n--XY\r\n\0\xff--XX\r\n\r\n"


def part(content, name=b'form-data; name="file"; filename="a.png"'):
    return b"--XX\r\nContent-Disposition: " + name + b"\r\n\r\n" + content + b"\r\n"


@pytest.mark.parametrize(
    "name", [b'form-data; name="file"; filename="a.png"', b"form-data; name=x"]
)
@pytest.mark.parametrize("content_type", [FORM, FORM.replace("XX", '"XX"'), FORM + "; charset=x"])
def test_the_only_part_of_a_form_is_the_file(name, content_type):
    assert file_of_request(part(CONTENT, name) + b"--XX--\r\n", content_type) == CONTENT


@pytest.mark.parametrize(
    "content_type", ["", "image/png", "application/octet-stream", "multipart/mixed", ";;=\xff"]
)
def test_any_other_body_is_the_file(content_type):
    assert file_of_request(CONTENT, content_type) == CONTENT


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (part(b"a") + part(b"b") + b"--XX--\r\n", FORM, "the form has 2 parts: send one image as"),
        (b"--XX--\r\n", FORM, "the form "),
        (b"\x89PNG", FORM, "the form is damaged"),
        (part(b"a"), FORM, r"the form is damaged \(its end is missing\)"),
        (part(b"a") + b"--XX--\r\n", "multipart/form-data", "the form is damaged"),
        (b"--XX\r\n" + b"A" * 10**6, FORM, "the form "),
    ],
)
def test_what_is_no_form_with_one_part_is_refused(body, content_type, reason):
    with pytest.raises(RequestError, match=reason) as caught:
        file_of_request(body, content_type)
    assert caught.value.status == 415
    assert "\n" not in caught.value.reason
    assert "curl -F file=@FILE" in caught.value.reason
