"""Production watched: labels joined, cohorts, drift, evidence for a retraining, telling people."""
