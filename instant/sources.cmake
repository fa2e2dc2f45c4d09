list(APPEND SLIMGRAD_SOURCES
     instant/calibration/calibrator.cpp
     instant/calibration/gram.cpp
     instant/calibration/projector.cpp
     instant/cost/architectures.cpp
     instant/cost/break_even.cpp
     instant/cost/cost_model.cpp
     instant/cost/linear_cost.cpp
     instant/cost/trace.cpp
     instant/lab/fieller.cpp
     instant/lab/gradient_study.cpp
     instant/lab/lab.cpp
     instant/lab/snr.cpp
     instant/lab/snr_measure.cpp
     instant/lab/snr_source.cpp
     instant/methods/method.cpp
     instant/methods/options.cpp
     instant/methods/subspace_rule.cpp)
