// PROBAST's signalling questions on the risk of bias of a prediction model, answered from the run
// where the run knows, left to the author where only people can.
//
// Four domains (participants, predictors, outcome, analysis) with 2 + 3 + 6 + 9 questions, here in
// our own words under their numbers. An answer is "yes", "probably yes", "probably no", "no" or "no
// information"; "yes" always speaks for a low risk of bias. What is known about an open question is
// said beside it, as a fact and not as an answer.
//
// A domain is judged only when none of its questions is open: "high" with a "no" or "probably no",
// else "unclear" with a "no information", else "low". The whole is judged when all domains are.
//
// Source: Wolff et al., Ann Intern Med 170(1):51-58, 2019. doi:10.7326/M18-1376; Moons et al., Ann
// Intern Med 170(1):W1-W33, 2019. doi:10.7326/M18-1377. Numbers and meanings by memory of these,
// to be read against the form before submission. PROBAST+AI (Moons et al., BMJ 388:e082505, 2025;
// 16 questions on development, 18 on evaluation) is not filled here.
#pragma once

#include <string>

#include "med3d/core/json.h"
#include "med3d/pipeline/cohort.h"
#include "med3d/pipeline/run_settings.h"

namespace med3d::pipeline {

// {"source", "domains": [{"domain", "open", "judgement", "questions": [{"question", "text",
// "status": "answered" | "author", "answer", "value"}]}], "judgement"}; a judgement is null while a
// question is open. `report` is report.json as far as it is made: cohort, models, survival.
Json probast_json(const Json& report, const Cohort& cohort, const RunSettings& settings);

// The judgement of a domain from its questions, or null while one of them is open.
Json risk_of_bias(const Json& questions);

}  // namespace med3d::pipeline
