"""What is converted: each kind of file gives a `Source`, whose boxes can be read one by one."""
