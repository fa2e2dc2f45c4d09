#pragma once

/// The whole public interface of slimgrad, room by room in the order in which the rooms depend on
/// each other. Link slimgrad::slimgrad to compute in float or slimgrad::slimgrad_f64 in double.

#include "autograd/all.h"
#include "data/all.h"
#include "instant/all.h"
#include "nn/all.h"
#include "optim/all.h"
#include "tensor/all.h"
