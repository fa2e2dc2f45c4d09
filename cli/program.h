#pragma once

namespace slimgrad::cli {

/// All of the command-line program: its commands, and every method of the table. A main() that adds
/// methods of its own (register_method) and then calls this has them in every command. It may start
/// the program again with the same arguments, so it comes first, after what main() registers.
/// Returns the exit status.
int run_program(int argc, char** argv);

}  // namespace slimgrad::cli
