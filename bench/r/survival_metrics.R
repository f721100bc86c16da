# The steps of bench/survival_metrics.cc by R's survival and pROC:
#   Rscript survival_metrics.R table.csv [small] [resamples] [turns]
suppressPackageStartupMessages({library(survival); library(pROC)})
words <- commandArgs(trailingOnly = TRUE)
number <- function(i, default) if (length(words) >= i) as.integer(words[i]) else default
d <- read.csv(words[1])
small <- d[seq_len(number(2, 400L)), ]
resamples <- number(3, 2000L)
turns <- number(4, 5L)
x <- as.matrix(d[, 5:ncol(d)])
y <- Surv(d$time, d$event)

quiet_roc <- function(label, risk) roc(label, risk, direction = "<", levels = c(0, 1), quiet = TRUE)
steps <- list(
  c_index = function() concordance(y ~ d$risk, reverse = TRUE)$concordance,
  kaplan_meier = function() summary(survfit(y ~ 1), times = 24)$surv,
  cox = function() unname(coef(coxph(y ~ x, ties = "efron"))[1]),
  auroc_delong = function() as.numeric(ci.auc(quiet_roc(d$label, d$risk), method = "delong"))[2],
  auroc = function() as.numeric(auc(quiet_roc(d$label, d$risk))),
  auroc_bootstrap = function() {
    curve <- quiet_roc(small$label, small$risk)
    ci.auc(curve, method = "bootstrap", boot.n = resamples, boot.stratified = FALSE,
           progress = "none")
    as.numeric(auc(curve))
  })

said <- vapply(names(steps), function(name) {
  seconds <- numeric(turns)
  for (turn in seq_len(turns)) {
    spent <- system.time(value <- steps[[name]](), gcFirst = FALSE)
    seconds[turn] <- sum(spent[c("user.self", "sys.self")])
  }
  sprintf('"%s": {"cpu_s": %.6f, "value": %.15g}', name, median(seconds), value)
}, "")
cat(sprintf('{"who": "R %s, survival %s, pROC %s", "patients": %d, "steps": {%s}}\n',
            getRversion(), packageVersion("survival"), packageVersion("pROC"), nrow(d),
            paste(said, collapse = ", ")))
