"""The model: kernel builds, machines, pfn maps, designs, and what they cost together in bytes and steps.

It counts; it knows no time, no trace and no picture. Imports inside it go down this list: errors and files,
kernel, memory, pfnmaps, designs, scenario.
"""
