"""What runs on executors: Arrow in, Arrow out. Imports are paid by every Python worker, so they stay few."""
