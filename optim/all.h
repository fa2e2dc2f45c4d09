#pragma once

/// The public headers of this room.

#include "optim/adam.h"
#include "optim/clip.h"
#include "optim/optimizer.h"
#include "optim/projection.h"
#include "optim/schedule.h"
#include "optim/sgd.h"
#include "optim/state.h"
