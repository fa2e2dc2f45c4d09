#pragma once

namespace slimgrad::cli {

/// A write that fails since its reader has gone (SIGPIPE) or its file is too long (SIGXFSZ) is an
/// error like others, not the end of the program.
void ignore_write_signals();

/// From now on Ctrl-C (SIGINT), SIGTERM, SIGHUP, unless that was ignored as nohup does, and the
/// loss of a reader only raise a flag. A second one of the first three ends the program at once.
void catch_interrupts();
bool interrupted();

}  // namespace slimgrad::cli
