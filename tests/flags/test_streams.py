"""Messages and bars on one terminal."""

import contextlib
import sys

from terminal import Terminal

from flags import streams


@contextlib.contextmanager
def both_on(terminal):
    """Standard output and error on one terminal, for a block."""
    with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
        with streams.that_may_close():
            yield


def test_a_message_takes_the_line_of_a_bar_and_the_bar_is_drawn_below():
    screen = Terminal()
    with both_on(screen):
        sys.stdout.write("\r\033[Kepoch 1/2 [==  ] 2/4")
        print("warning:", "from elsewhere", file=sys.stderr)
        print("another", file=sys.stderr)
        sys.stdout.write("\r\033[Kepoch 1/2 [=== ] 3/4")
        print()
        print("after")
    assert screen.getvalue() == (
        "\r\033[Kepoch 1/2 [==  ] 2/4\r\033[Kwarning: from elsewhere\nanother\n"
        "\r\033[Kepoch 1/2 [=== ] 3/4\nafter\n"
    )


def test_a_bar_that_is_wiped_out_leaves_nothing_to_clear():
    screen = Terminal()
    with both_on(screen):
        sys.stderr.write("\rpgd-20: 10 %")
        sys.stderr.write("\r            \r")
        print("then")
    assert screen.getvalue() == "\rpgd-20: 10 %\r            \rthen\n"


def test_a_file_gets_what_is_written(capsys):
    with streams.that_may_close():
        sys.stdout.write("\rno bar ")
        print("here")
    assert capsys.readouterr().out == "\rno bar here\n"
