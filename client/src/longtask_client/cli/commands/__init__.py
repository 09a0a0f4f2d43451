"""The commands, by what they are about; a module is imported when one of its commands is called.

They turn words into calls and answers into text, and know no rule.
"""
