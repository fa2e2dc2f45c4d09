"""One run for sg.compare: a job as JSON on standard input, the summary on standard output."""

import json
import sys
import warnings

import slimgrad as sg


def main() -> int:
    """Runs the job and returns the exit status."""
    job = json.load(sys.stdin)
    warnings.simplefilter("ignore")  # which options have no effect, compare() has said
    try:
        summary = sg.train(overwrite=job["overwrite"], quiet=job["quiet"], **job["options"])
    except sg.Error as error:
        print(json.dumps({"error": str(error)}))
        return 2
    except KeyboardInterrupt:
        return 130
    print(json.dumps(summary))
    return 0


if __name__ == "__main__":
    sys.exit(main())
