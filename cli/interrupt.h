#pragma once

namespace slimgrad::cli {

/// From now on Ctrl-C (SIGINT) and SIGTERM only raise a flag; a second one ends the program at
/// once.
void catch_interrupts();
bool interrupted();

}  // namespace slimgrad::cli
