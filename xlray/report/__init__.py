"""The answer as a page, tables and figures; exports of test predictions."""
