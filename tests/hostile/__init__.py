"""Files that mean harm: facetell may judge or refuse them, soon, in little memory, and must say so plainly."""
