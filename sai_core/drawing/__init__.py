"""From annotations to pixels of the ERP canvas: energy maps, outlines, boxes, and the pictures made of them."""
