"""Searches people keep, and what they are told when something new answers one."""
