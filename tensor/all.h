#pragma once

/// The public headers of this room.

#include "tensor/allocator.h"
#include "tensor/blas.h"
#include "tensor/checked.h"
#include "tensor/config.h"
#include "tensor/error.h"
#include "tensor/instructions.h"
#include "tensor/ledger.h"
#include "tensor/linalg.h"
#include "tensor/meter.h"
#include "tensor/ops.h"
#include "tensor/option.h"
#include "tensor/random.h"
#include "tensor/storage.h"
#include "tensor/tensor.h"
