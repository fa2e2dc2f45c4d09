#pragma once

/// The whole public interface of slimgrad, room by room in the order in which the rooms depend on
/// each other. Link slimgrad::slimgrad to compute in float or slimgrad::slimgrad_f64 in double.

#include "tensor/allocator.h"
#include "tensor/blas.h"
#include "tensor/config.h"
#include "tensor/error.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/gemm.h"
#include "tensor/kernels/transcendental.h"
#include "tensor/ledger.h"
#include "tensor/linalg.h"
#include "tensor/meter.h"
#include "tensor/ops.h"
#include "tensor/random.h"
#include "tensor/storage.h"
#include "tensor/tensor.h"

#include "autograd/function.h"
#include "autograd/saved.h"
#include "autograd/tape.h"

#include "nn/backward_rule.h"
#include "nn/init.h"
#include "nn/linear.h"
#include "nn/linear_map.h"
#include "nn/models/model.h"
#include "nn/module.h"

#include "optim/adam.h"
#include "optim/adamw.h"
#include "optim/clip.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"
#include "optim/sgd.h"
#include "optim/state.h"

#include "instant/calibrator.h"
#include "instant/cost_model.h"
#include "instant/gram.h"
#include "instant/low_rank_rule.h"
#include "instant/method.h"
#include "instant/projector.h"
#include "instant/trace.h"

#include "data/image_data.h"
#include "data/loader.h"
