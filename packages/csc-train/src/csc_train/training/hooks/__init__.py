"""What happens beside training itself: what is kept, shown, logged, and why a run ends."""
