#include "cli/program.h"

int main(int argc, char** argv) { return slimgrad::cli::run_program(argc, argv); }
