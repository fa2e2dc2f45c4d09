#pragma once

/// The public headers of this room.

#include "autograd/function.h"
#include "autograd/gradcheck.h"
#include "autograd/matrix_basis.h"
#include "autograd/observer.h"
#include "autograd/ops.h"
#include "autograd/saved.h"
#include "autograd/tape.h"
