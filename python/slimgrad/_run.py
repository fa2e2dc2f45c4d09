"""One run for sg.compare, in a process of its own: the arguments of sg.train as JSON on standard input; what it
refuses, as JSON too, on standard output."""

import json
import sys
import warnings

import slimgrad as sg


def main() -> int:
    """Runs the job and returns the exit status."""
    warnings.simplefilter("ignore")  # which options have no effect, compare() has said
    try:
        sg.train(**json.load(sys.stdin))
    except sg.Error as error:
        print(json.dumps(str(error)))
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
