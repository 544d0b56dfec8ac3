"""What will be computed, decided and spent; pure, starts nothing."""
