import logging

from resnet_jax.serving.connections.logs import Sparing


def logged(filter_, messages):
    """Gives what passes a filter."""
    lines = []
    logger, handler = logging.Logger("server"), logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(handler)
    logger.addFilter(filter_)
    for message, *arguments in messages:
        logger.warning(message, *arguments)
    return lines


def test_a_message_is_logged_once_in_a_while():
    messages = [("bad request %d", n) for n in range(1000)] + [("another",)] * 2
    assert logged(Sparing(), messages) == ["bad request 0", "another"]


def test_and_then_says_how_many_were_left_out():
    sparing = Sparing(seconds=1e9)
    assert logged(sparing, [("bad %s", "100% x")] * 5) == ["bad 100% x"]
    sparing._seconds = 0.0
    assert logged(sparing, [("bad %s", "100% x")] * 2) == [
        "bad 100% x (4 more like it were left out)",
        "bad 100% x",
    ]


def test_faults_are_told_apart_by_their_place():
    def fail(kind, place):
        try:
            if place:
                raise kind("x")
            raise kind("y")
        except kind:
            logger.exception("a fault\n%s", place)

    lines = []
    logger, handler = logging.Logger("server"), logging.Handler()
    handler.emit = lambda record: lines.append(record)
    logger.addHandler(handler)
    logger.addFilter(Sparing())
    for _ in range(3):
        for kind in (ValueError, KeyError):
            for place in (0, 1):
                fail(kind, place)
    assert len(lines) == 4
