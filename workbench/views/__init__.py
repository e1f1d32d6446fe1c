"""What people look at: figures of tables, explorers with controls, pages that leave the workbench."""
