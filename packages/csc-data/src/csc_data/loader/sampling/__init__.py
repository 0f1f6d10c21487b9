"""How much of each class a crop holds, and where, so that patches can be drawn with it."""
