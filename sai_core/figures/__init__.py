"""What leaves the program: figures for papers, galleries of examples, videos."""
