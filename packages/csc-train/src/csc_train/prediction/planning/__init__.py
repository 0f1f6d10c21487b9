"""What a call of `predict` asks for, and what it will take: worked out before anything is computed."""
