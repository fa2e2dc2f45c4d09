list(APPEND SLIMGRAD_SOURCES
     instant/architectures.cpp
     instant/break_even.cpp
     instant/calibrator.cpp
     instant/cost_model.cpp
     instant/fieller.cpp
     instant/gradient_study.cpp
     instant/gram.cpp
     instant/lab.cpp
     instant/low_rank_rule.cpp
     instant/method.cpp
     instant/projector.cpp
     instant/snr.cpp
     instant/snr_measure.cpp
     instant/snr_source.cpp
     instant/trace.cpp)
