// slimgrad's program with a method of one's own, made outside of slimgrad's tree.
#include <cli/program.h>
#include <slimgrad.h>

#include <memory>

int main(int argc, char** argv) {
    using namespace slimgrad;
    register_method(
        {.name = "exact-again",
         .help = "what vanilla does",
         .x_slot = "x",
         .g_slot = "g W",
         .rule = [](const RuleRequest&) { return std::make_shared<const ExactRule>(); }});
    return cli::run_program(argc, argv);
}
