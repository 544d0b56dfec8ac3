"""How far a sweep is: terminal and live page."""
