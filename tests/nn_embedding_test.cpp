#include "nn/embedding.h"

#include <gtest/gtest.h>

#include "nn/gradcheck.h"
#include "tensor/ops.h"

namespace slimgrad {
namespace {

const std::vector<std::int32_t> tokens{1, 0, 1, 3, 2, 1};

TEST(Embedding, LooksUpRowsAndAddsTheGradientsOfRepeatedTokens) {
    Stream stream(1, "test");
    Embedding embedding(4, 3, stream);
    Tape lookup;
    const Var y = embedding.forward(lookup, tokens, {2, 3});
    EXPECT_EQ(y.shape(), (Shape{2, 3, 3}));
    EXPECT_EQ(y.value().at({1, 0, 2}), embedding.weight().value.at({3, 2}));
    const TapeFunction f = [&](Tape& tape, const std::vector<Var>&) {
        return embedding.forward(tape, tokens, {2, 3});
    };
    EXPECT_EQ(gradcheck(embedding, f, {}).checked, 12);
}

TEST(Embedding, ThePaddingRowIsZeroAndGetsNoGradient) {
    Stream stream(1, "test");
    Embedding embedding(4, 3, stream, 1);
    EXPECT_EQ(embedding.weight().value.at({1, 0}), 0);
    Tape tape;
    const Var y = embedding.forward(tape, tokens, {6});
    tape.backward(y, Tensor::full({6, 3}, 1));
    EXPECT_EQ(embedding.weight().grad.value.at({1, 0}), 0);
    EXPECT_EQ(embedding.weight().grad.value.at({0, 0}), 1);
}

TEST(Embedding, WrongIndicesAndShapesAreErrors) {
    Stream stream(1, "test");
    Embedding embedding(4, 3, stream);
    Tape tape;
    EXPECT_THROW(embedding.forward(tape, tokens, {5}), Error);
    EXPECT_THROW(embedding.forward(tape, std::vector<std::int32_t>{4}, {1}), Error);
    EXPECT_THROW(embedding.forward(tape, std::vector<std::int32_t>{-1}, {1}), Error);
    EXPECT_THROW(Embedding(4, 3, stream, 4), Error);
    EXPECT_THROW(embedding.Module::forward(tape.constant(Tensor({1}))), Error);
}

}  // namespace
}  // namespace slimgrad
