module example.com/behind-doorward

go 1.19
