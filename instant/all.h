#pragma once

/// The public headers of this room.

#include "instant/calibration/calibrator.h"
#include "instant/calibration/gram.h"
#include "instant/calibration/projector.h"
#include "instant/calibration/truncation.h"
#include "instant/cost/architectures.h"
#include "instant/cost/break_even.h"
#include "instant/cost/cost_model.h"
#include "instant/cost/linear_cost.h"
#include "instant/cost/trace.h"
#include "instant/lab/fieller.h"
#include "instant/lab/gradient_study.h"
#include "instant/lab/lab.h"
#include "instant/lab/snr.h"
#include "instant/lab/snr_source.h"
#include "instant/methods/lora.h"
#include "instant/methods/low_rank_rule.h"
#include "instant/methods/method.h"
#include "instant/methods/options.h"
#include "instant/methods/subspace_rule.h"
