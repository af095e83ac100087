"""What a proxied request costs beside the installed nginx and HAProxy: the parts of script/bench."""


class Failed(Exception):
    """The run cannot go on; the message says why."""
