"""From labels of crops to scores of classes: pure functions of counts, and the rules that they follow."""
