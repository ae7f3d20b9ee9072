use darwinlm_search::{AttentionUnit, FitnessKind, Genome, Ladder, Level, PerKind, SelectionStep};
